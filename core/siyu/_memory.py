"""What Polars is told about memory, before it is first imported.

Frames are made and thrown away all the time. Polars gives their memory back after half a second, and to ask for it anew
was a fifth of a refresh's CPU; ten seconds make nearly all of that go away.
"""

from __future__ import annotations

import os

os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000")
