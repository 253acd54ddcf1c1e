"""Fine-tuning methods, one file each: which decisions, which weights, which loss.

To add one: a frozen dataclass that derives from `base.Method`, named by `_target_` in a YAML file under
`conf/finetune/`.
"""
