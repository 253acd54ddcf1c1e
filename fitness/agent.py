"""The phenotype: all that an engine or an environment ever sees of a genome.

Owns `Agent`. Knows nothing of parents, operators or selection; evolution reaches this package only through
`Genome.express`.
"""

from dataclasses import dataclass

from fitness.adapter import Adapter


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A strategy and an adapter, ready to be seated on an engine.

    Example: `Agent(id=7, strategy="flee wolves near. eat when low.", adapter=initial_adapter(spec, seed=0))`
    """

    id: int
    """Unique in a run; counted, never drawn."""
    strategy: str
    """What the agent is told: the beginning of every prompt it gets."""
    adapter: Adapter
    """LoRA factors put on the base model; all-zero B means the base model itself."""
    temperature: float = 1.0
    """Divides the action logits; above 0."""

    def __post_init__(self) -> None:
        """Refuse a temperature that has no distribution."""
        if not self.temperature > 0:
            raise ValueError(f"agent.temperature: expected a number above 0, got {self.temperature}")
