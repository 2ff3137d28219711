import sys

from function import handler


def read_request():
    # Bytes that are no text come back as they were when the handler prints or returns what it got.
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def write_answer(answer):
    if isinstance(answer, (bytes, bytearray)):
        sys.stdout.flush()
        sys.stdout.buffer.write(answer)
    elif answer is not None:
        print(answer)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    write_answer(handler.handle(read_request()))
