"""A reader a layer: each turns bytes into named regions, fields and files, and nothing else.

Own readers, because no library says at which offset a field lies, keeps to a memory bound, or compares without
decompressing; pycdlib, dissect.squashfs and dissect.fat are the second opinion in the tests (docs/adr).
"""
