"""neo_wallet.py - a Neo N3 account that signs messages as wallets do, by the openssl command: for tests of sign-in."""
import hashlib
import subprocess
import tempfile

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *args], input=data, check=True, capture_output=True, timeout=60).stdout


def raw_signature(der):
    """r and s in 32 bytes each, as JWTs and wallets have them, out of what openssl makes."""
    at, numbers = 2, []
    for _ in range(2):
        size = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + size], "big").to_bytes(32, "big"))
        at += 2 + size
    return b"".join(numbers)


class Wallet:
    def __init__(self):
        self.pem = tempfile.NamedTemporaryFile(suffix=".pem")
        self.pem.write(openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"))
        self.pem.flush()
        der = openssl("ec", "-in", self.pem.name, "-pubout", "-conv_form", "compressed", "-outform", "DER")
        self.key = der[-33:]
        script = b"\x0c\x21" + self.key + b"\x41\x56\xe7\xb3\x27"
        body = b"\x35" + hashlib.new("ripemd160", hashlib.sha256(script).digest()).digest()
        number = int.from_bytes(body + hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4], "big")
        self.address = ""
        while number:
            number, digit = divmod(number, 58)
            self.address = ALPHABET[digit] + self.address

    def sign(self, message, salt=""):
        text = (salt + message).encode()
        length = bytes([len(text)]) if len(text) < 0xfd else b"\xfd" + len(text).to_bytes(2, "little")
        return raw_signature(openssl("dgst", "-sha256", "-sign", self.pem.name,
                                     data=b"\x01\x00\x01\xf0" + length + text + b"\0\0")).hex()
