"""Messages that are nearly right: what decoders, parsers and kernels are compared on."""

import random


def mutated(dice: random.Random, base: bytes, number: int) -> bytes:
    """``base`` with clients of its own and up to four things changed; mostly with a right size field."""
    own = bytes((11, number >> 16 & 255, number >> 8 & 255, number & 255))
    data = bytearray(base.replace(bytes((10, 9, 0, 1)), own).replace(bytes((10, 9, 0, 2)), own))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        kind = dice.randrange(10)
        place = dice.randrange(len(data)) if data else 0
        if kind < 4 and data:
            data[place] = dice.randrange(256)
        elif kind < 6 and data:
            data[place] ^= 1 << dice.randrange(8)
        elif kind == 6 and data:
            data[place] = dice.choice((0, 1, 2, 3, 6, 17, 36, 37, 62, 72, 0x40, 0x41, 0x80, 132, 255))
        elif kind == 7 and len(data) > 4:
            del data[dice.randrange(4, len(data)) :]
        elif kind == 8:
            data += dice.randbytes(dice.choice((1, 2, 3, 4, 26, 36, 72)))
        elif data:
            data[place:place] = data[8:44]
    if len(data) >= 4 and dice.random() < 0.85:
        data[2:4] = len(data).to_bytes(2, "big")
    return bytes(data)
