"""`python -m sparing`, so that `torchrun -m sparing pretrain` works too."""

import sys

from sparing.cli.main import main

sys.exit(main())
