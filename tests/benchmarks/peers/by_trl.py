"""Training by TRL: one `SFTTrainer` per adapter, one after the other, as TRL trains one adapter at a time.

Trainers are made anew before each run, each with its own copy of the model; that is told apart as preparation, and the
job's time is `trainer.train()` alone. Gradient checkpointing and bfloat16, both on by default, are off: the one costs
time for memory that is not short, the other would be another arithmetic than the rivals'. `train()` collects Python's
garbage each time, which takes several times as long as a step of a small model; objects that were there before are kept
from it, in TRL's favour.
"""

import gc
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from job import Job
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer


class Trl:
    """One optimisation step over all rows of an adapter, for every adapter in turn."""

    def __init__(self, folder: Path) -> None:
        logging.disable_progress_bar()
        self.job = Job(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.job.model)
        self.place = tempfile.TemporaryDirectory()
        self.trainers: list[SFTTrainer] = []

    def prepare(self) -> None:
        """Make a trainer for every adapter, and show none of what there is to the garbage collector."""
        gc.unfreeze()
        self.trainers = [self._trainer(index) for index in range(len(self.job.adapters))]
        gc.freeze()

    def work(self) -> list[float]:
        """Train all and return each one's loss, which is the loss before its one step."""
        return [trainer.train().training_loss for trainer in self.trainers]

    def _trainer(self, index: int) -> SFTTrainer:
        base = AutoModelForCausalLM.from_pretrained(self.job.model, dtype=torch.float32)
        model = PeftModel.from_pretrained(base, str(self.job.adapters[index]), is_trainable=True)
        rows, labels = self.job.told["rows"][index], self.job.told["labels"][index]
        return SFTTrainer(
            model, self._config(len(rows)), train_dataset=lessons(rows, labels), processing_class=self.tokenizer
        )

    def _config(self, rows: int) -> SFTConfig:
        return SFTConfig(
            output_dir=self.place.name,
            max_steps=1,
            per_device_train_batch_size=rows,
            learning_rate=self.job.told["learning_rate"],
            lr_scheduler_type="constant",
            weight_decay=0.0,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


def lessons(rows: list[list[int]], labels: list[int]) -> Dataset:
    """Return rows that end with their label, the only token that the loss is on."""
    return Dataset.from_dict(
        {
            "input_ids": [[*row, label] for row, label in zip(rows, labels, strict=True)],
            "labels": [[-100] * len(row) + [label] for row, label in zip(rows, labels, strict=True)],
        }
    )
