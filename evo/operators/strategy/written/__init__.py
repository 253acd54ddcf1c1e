"""Operators that have a language model write, each with the grammar's own operator behind it.

Owns `Rewrite` (one clause anew), `Blend` (a child of two strategies) and `Reflection` (one clause anew, in view of how
its bearer died), what they say to the model (`prompts.py`) and `Pen`, how the model writes. What the grammar's operator
would do is drawn before anything is asked, so chance does not depend on answers; it stands wherever an answer is of no
use (does not follow the grammar, is empty, too long or nothing new). Answers are data: of one, only the first line is
read, only so far as a strategy can be long, and only what the grammar admits gets any further.

*The control of equal cost.* `Pen(heed=False)` asks for the same texts and pays for them, tokens, FLOPs and seconds, and
then takes what the grammar's operator had drawn. What a run with a heeding pen has over it is what the model's words
are worth. Always run it beside: random changes do almost as well as written ones in some published comparisons, and
models below some billion weights mostly write what is of no use.
"""

from evo.operators.strategy.written.blend import Blend
from evo.operators.strategy.written.deaths import tell_deaths
from evo.operators.strategy.written.pen import Pen
from evo.operators.strategy.written.reflection import Reflection
from evo.operators.strategy.written.rewrite import Rewrite

__all__ = ["Blend", "Pen", "Reflection", "Rewrite", "tell_deaths"]
