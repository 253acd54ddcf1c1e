"""The texts that go with an export: a README with the commands, and a script that trains with TRL.

Kept as text, since none of Forager's own code needs TRL; the tests run the script with trl 1.16 and peft 0.21.
"""

TRAIN = '''\
"""Train the adapter of an export with TRL (tried with trl 1.16 and peft 0.21): python train.py sft|dpo MODEL OUTPUT.

TRL would end every completion with an end-of-text token, which an agent never says. The rows are tokenised here
instead, as TRL would, so that the loss is on the action alone. DPO's reference is the adapter as it was exported.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from datasets import Dataset, load_dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

HERE = Path(__file__).resolve().parent


class PreparedDPOTrainer(DPOTrainer):
    """Takes rows that are tokens already."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


def tokens(tokenizer, prompt, completion):
    """Return the tokens of a prompt and of what follows it."""
    read, whole = tokenizer(prompt)["input_ids"], tokenizer(prompt + completion)["input_ids"]
    start = len(os.path.commonprefix([read, whole]))
    done = len(tokenizer(completion, add_special_tokens=False)["input_ids"])
    return whole[:start], whole[start : start + done]


def sft_row(tokenizer, row):
    read, done = tokens(tokenizer, row["prompt"], row["completion"])
    return {"input_ids": read + done, "completion_mask": [0] * len(read) + [1] * len(done)}


def dpo_row(tokenizer, row):
    (read, chosen), (_, rejected) = (tokens(tokenizer, row["prompt"], row[name]) for name in ("chosen", "rejected"))
    return {"prompt_ids": read, "chosen_ids": chosen, "rejected_ids": rejected}


METHODS = {
    "sft": (SFTTrainer, SFTConfig, sft_row, {"completion_only_loss": True}, 2e-4),
    "dpo": (PreparedDPOTrainer, DPOConfig, dpo_row, {}, 5e-5),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("model", help="hub id or folder of the base model")
    parser.add_argument("output", help="folder for the trained adapter")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--cpu", action="store_true", help="train on a CPU, in float32")
    given = parser.parse_args()
    trainer_class, config_class, to_tokens, options, rate = METHODS[given.method]

    tokenizer = AutoTokenizer.from_pretrained(given.model)
    base = AutoModelForCausalLM.from_pretrained(given.model, dtype="float32" if given.cpu else "bfloat16")
    model = PeftModel.from_pretrained(base, str(HERE / "adapter"), is_trainable=True)
    rows = load_dataset("json", data_files=str(HERE / f"{given.method}.jsonl"), split="train")
    if "prompt" in rows.column_names:
        rows = Dataset.from_list([to_tokens(tokenizer, row) for row in rows])
    config = config_class(
        output_dir=given.output,
        max_steps=given.steps,
        per_device_train_batch_size=given.batch,
        learning_rate=given.learning_rate or rate,
        max_length=None,
        bf16=not given.cpu,
        use_cpu=given.cpu,
        gradient_checkpointing=not given.cpu,
        save_strategy="no",
        report_to="none",
        **options,
    )
    trainer_class(model, args=config, train_dataset=rows, processing_class=tokenizer).train()
    model.save_pretrained(given.output, selected_adapters=["default"], save_embedding_layers=False)


if __name__ == "__main__":
    main()
'''

README = """\
# Export of {run} for TRL

What genome {genome} of a Forager run has lived, for training elsewhere. Base model: {model}.

| file | what it holds |
|---|---|
{files}| `adapter/` | LoRA adapter of genome {genome} in PEFT's format: where training starts |
| `train.py` | trains the adapter with TRL on either file |

{form}
A prompt is what an agent read, word for word: {manual}strategy, observation, suffix. A completion is an action.

```bash
pip install trl peft
{train}```

`MODEL` is the base model's hub id or folder{organism}; add `--cpu` on a machine without an accelerator.
Back to evolution, all founders with the trained adapter:

```bash
forager evolve {overrides}adapter.rank={rank} adapter.alpha={alpha:g} adapter.start=FOLDER/tuned-sft
```
"""
SFT_FILE = "| `sft.jsonl` | {decisions} decisions of the {lives} longest lives, of genomes {genomes} |\n"
DPO_FILE = (
    "| `dpo.jsonl` | {pairs} pairs: read the same in the same world, done by one that lived at least {margin} times as "
    "long (chosen) and by one that died early (rejected) |\n"
)
TEXT_FORM = "Rows are text; the model's tokenizer makes of them exactly the tokens that were acted on.\n"
IDS_FORM = (
    "Rows are token ids of the base model's own tokenizer, because text in one piece would not give the tokens that "
    "were acted on: it merges what lies on either side of a seam, or agents answered in words of their own, which are "
    "the tokens that they were sampled as.\n"
)
TRAIN_COMMAND = "python train.py {method} MODEL tuned-{method}\n"
