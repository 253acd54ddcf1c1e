"""The organism: the small language model that ships with Forager, so that a laptop can run every experiment.

`FOLDER` holds its weights and tokenizer in Hugging Face's format; `recipe.py` is how they were made (`forager
pretrain`); `README.md` is its model card.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
"""What `model.name=organism` stands for."""
SUFFIX = " ->"
"""What stands between an observation and the action in the organism's prompts."""
