"""``python cli.py ...`` from a checkout is the command ``dae-sampler ...``."""

from dae_sampler.cli import main

if __name__ == "__main__":
    main()
