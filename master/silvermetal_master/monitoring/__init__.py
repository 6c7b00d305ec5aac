"""What the service tells machines that watch it: ``/metrics``, ``/health``, logs as JSON."""
