"""
`python -m statepipe` is the same as the command `statepipe`.
"""

import sys

from statepipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
