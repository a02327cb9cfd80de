"""``python -m dae_sampler`` is the command ``dae-sampler``."""

from .cli.app import main

main()
