"""Decides who lives, breeds and is trained.

Owns genotypes (`evo.genome`), their variation (`evo.operators`), the algorithms that use both (`evo.algorithms`), the
generation loop, its records and the command line. May import `finetune` and `fitness`; neither may import this package.
Evolution meets the world only through `Genome.express`.

To extend: write a class that derives from a family's base (see `evo.operators` and `evo.algorithms`), anywhere on the
Python path, and name it by `_target_` in a YAML file. Nothing has to be registered.
"""

__version__ = "0.1.0"
