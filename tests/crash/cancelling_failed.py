"""
End the cancel of an instance that has failed at each of its points, and go on; as `cancelling`.

    python -m tests.crash.cancelling_failed FIRST STEP
"""

import sys
from functools import partial

from tests.crash.cancelling import end_and_go_on, set_up
from tests.crash.sweep import sweep_copies

if __name__ == "__main__":
    sys.exit(sweep_copies(sys.argv[1:], set_up=partial(set_up, fails=True), look=end_and_go_on))
