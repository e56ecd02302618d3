"""
What the tests of metrics share: a machine's form, a snapshot to fill in, a client that reads text.

    form        the canonical form of a small machine
    snapshot    a store that says nothing, but for what a test wants it to say
    collected   the families of one store
    shown       one exposition as {series: value}
    tls_files   a certificate for loopback, and its key; they guard nothing
"""

from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from statepipe.figures import Snapshot
from statepipe.observe.series import Family, View, families
from statepipe.observe.shape import Shape, shape_of

_CERT: Final = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUUW9QwCPOXuBDczfuoVWVgAeJwyQwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODA0NDk0OFoYDzIxMjYxMTA0
MDQ0OTQ4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ2YAsP/0SWc3EhzxF1lYwne0fcmg4ic1b87sovtE4Kgo/VBdf7AYqb
iByBoiGRMNfNJw4wv7FPVmUK0gdc7L3Lo28wbTAdBgNVHQ4EFgQUBP1ner0sF66C
LTwtjMpQi6GLy5cwHwYDVR0jBBgwFoAUBP1ner0sF66CLTwtjMpQi6GLy5cwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgU2BJUYvrlYb7XyL+uRPwvOnS5Iu3a8Dp6QfvMzyMSKgCIQCl
Cwjn0sm2AL+MtR8pA3P7eLEp2mFaweXrBDjh9CYg1A==
-----END CERTIFICATE-----
"""
_KEY: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzy1zHU2w0X23X4kB
GW4JGjKDxM2ulF9RDuWdrC3tEHuhRANCAAQ2YAsP/0SWc3EhzxF1lYwne0fcmg4i
c1b87sovtE4Kgo/VBdf7AYqbiByBoiGRMNfNJw4wv7FPVmUK0gdc7L3L
-----END PRIVATE KEY-----
"""


def tls_files(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost and its key; return their paths."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_text(_CERT, encoding="ascii")
    key.write_text(_KEY, encoding="ascii")
    return cert, key


def form(machine: str = "m") -> dict[str, Any]:
    """Return a machine of two acting states, with a failure of its own and a way back."""
    fails = {"error": [{"to": "failed"}], "timeout": [{"to": "failed"}]}
    return {
        "machine": machine,
        "version": 3,
        "initial": "one",
        "states": {
            "one": {"task": {"run": "a:b"}, "on": {"ok": [{"to": "two"}], **fails}},
            "two": {
                "task": {"run": "a:b"},
                "on": {
                    "ok": [{"to": "rejected", "when": "result.bad"}, {"to": "done"}],
                    "again": [{"to": "one", "max_visits": 3}],
                    **fails,
                },
            },
            "done": {"final": "success"},
            "rejected": {"final": "failure"},
            "failed": {"final": "failure"},
        },
    }


def snapshot(**facts: Any) -> Snapshot:  # noqa: ANN401  (the fields of a snapshot)
    """Return what a store says in which nothing has ever happened, but for `facts`."""
    nothing = Snapshot(
        taken=(),
        counts=(),
        timings=(),
        moments=(),
        ids={},
        recent_after_ms=0,
        machines=(),
        stalled={},
        oldest_at_ms={},
        queue_depth=0,
        queue_since_ms=None,
        held=0,
        workers=0,
        slots=0,
        slots_in_use=0,
        pending={},
        watermarks={},
    )
    return nothing._replace(**facts)


def collected(seen: Snapshot | None, *, store: str = "", several: bool = False) -> list[Family]:
    """Return the families of one store that knows the machine `m`."""
    shape: Shape = shape_of(form())
    view = View(store=store, snapshot=seen, shapes=[shape], size=(4_096, 0), errors=0, took_s=0.25)
    return families([view], version="1.2.3", several=several)


def shown(text: bytes) -> dict[str, float]:
    """Return every sample of an exposition: the name, then `label=value` sorted, by spaces."""
    return {
        " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): (
            sample.value
        )
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
