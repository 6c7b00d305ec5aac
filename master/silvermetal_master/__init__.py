"""On the master: settings, Gitea's events, Buildbot's steps and objects, and the configuration made of them.

Rules:

- Imports run one way: settings, gitea, steps, builders and the other adapters, configure, master.cfg.
- No step decides: decisions are functions of ``silvermetal_proof``; steps gather, ask and show.
- What decides is counted evidence, never a build's colour (H1, H2).
"""
