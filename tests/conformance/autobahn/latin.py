"""Where the suite, whose byte strings became latin-1 text (convert.py), meets the library, which wants bytes.

`Edge` stands between a case and autobahn's protocol: text becomes bytes on the way out, bytes become text on the way in. It
changes no octet. The cases of permessage-deflate work with bytes of their own (they read files), and get bytes.
"""

import binascii

from autobahn.websocket.utf8validator import Utf8Validator as _Utf8Validator


def octets(value):
    return value.encode("latin-1") if isinstance(value, str) else value


def text(value):
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


def hex_of(value):
    return binascii.b2a_hex(octets(value)).decode("ascii")


class Utf8Validator(_Utf8Validator):
    def validate(self, value):
        return super().validate(octets(value))


class Edge:
    """A mixin in front of autobahn's client protocol."""

    # Out

    def sendFrame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
        payload = octets(payload)
        if payload_len is not None:
            # The library repeats the payload up to a length too, but only Python 2 can divide like it.
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        super().sendFrame(opcode, payload, fin, rsv, octets(mask), None, chopsize, sync)

    def sendMessage(self, payload, isBinary=False, *args, **kwargs):
        super().sendMessage(octets(payload), isBinary, *args, **kwargs)

    def sendMessageFrameData(self, payload, sync=False):
        return super().sendMessageFrameData(octets(payload), sync)

    def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
        if isinstance(reasonUtf8, str):
            # In a reply it is the peer's reason, which the library has decoded.
            reasonUtf8 = reasonUtf8.encode("utf-8" if isReply else "latin-1")
        super().sendCloseFrame(code, reasonUtf8, isReply)

    # In

    def onMessage(self, payload, isBinary):
        super().onMessage(payload if hasattr(self.runCase, "TESTDATA") else text(payload), isBinary)

    def onPong(self, payload):
        super().onPong(text(payload))
