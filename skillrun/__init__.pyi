# What a program sees; kept apart, for at run time nothing is loaded before it is used.
from skillrun.errors import Problem as Problem
from skillrun.errors import SkillrunError as SkillrunError
from skillrun.record.report import Report as Report
from skillrun.run.api import Execution as Execution
from skillrun.run.api import install as install
from skillrun.run.api import resume as resume
from skillrun.run.api import start as start
from skillrun.run.api import undo as undo
from skillrun.run.api import uninstall as uninstall
from skillrun.run.api import verify as verify
from skillrun.run.budget import Budget as Budget
from skillrun.run.options import EffectOptions as EffectOptions

__version__: str
