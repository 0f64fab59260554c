"""The harness of the conformance suite. Tests import what they need from here; README.md shows how."""

import pytest

from .client import Client, User
from .failure import Crash, LeftOut, Malformed, Unmet, Unanswered
from .protocol import PUSHES, REQUESTS, Frame, encode_frame
from .server import AddressServer, Server
from .story import note

rule = pytest.mark.rule
needs = pytest.mark.needs
undisturbed = pytest.mark.undisturbed

__all__ = [
    "AddressServer", "Client", "Crash", "Frame", "LeftOut", "Malformed", "PUSHES", "REQUESTS",
    "Server", "Unanswered", "Unmet", "User", "encode_frame", "needs", "note", "rule",
    "undisturbed",
]
