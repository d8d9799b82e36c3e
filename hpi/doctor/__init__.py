"""What is installed and works on this machine, for ``hpi doctor``.

Nothing here imports a package that may be broken: each part of an installation that may be missing, crash or hang is
tried in a process of its own (:mod:`hpi.doctor.probes`).
"""

from hpi.doctor.examination import MAIN_JOB, Settings, examine
from hpi.doctor.report import Check, Problem, Report

__all__ = ["MAIN_JOB", "Check", "Problem", "Report", "Settings", "examine"]
