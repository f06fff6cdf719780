"""Writes `src/littoral/net/oip_pb2.py` from `proto/*.proto`; needs `grpcio-tools==1.78.*` and nothing else.

The stock generated module registers its files in the process-wide descriptor pool. Other protocol clients register
files of the same names and packages there, and the second one to come is refused. Ours go into a pool of their own,
so that a client library and this server live in one process.

    python tools/generate_proto.py            writes the module
    python tools/generate_proto.py --check    fails where the module differs from what the files say
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "src" / "littoral" / "net" / "oip_pb2.py"
FILES = ("model_config.proto", "grpc_service.proto", "health.proto", "reflection.proto", "reflection_v1alpha.proto")
# Only these packages' messages become names of the module; v1alpha's are the same messages under another package.
NAMED_PACKAGES = ("inference", "grpc.health.v1", "grpc.reflection.v1")

HEAD = '''\
"""The protocol's messages, in a descriptor pool of their own. Made by tools/generate_proto.py: do not edit."""

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

POOL = DescriptorPool()
'''


def descriptors() -> list[descriptor_pb2.FileDescriptorProto]:
    """The compiled files, each after those it imports."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.bin"
        status = protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={target}", *FILES])
        if status != 0:
            raise SystemExit(f"protoc ended with status {status}")
        return list(descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file)


def module_text() -> str:
    """The module as text."""
    lines = [HEAD]
    files = descriptors()
    for file in files:
        lines.append(f"POOL.AddSerializedFile({file.SerializeToString()!r})\n")
    lines.append("\n")
    for file in files:
        if file.package in NAMED_PACKAGES:
            for message in file.message_type:
                full_name = f"{file.package}.{message.name}"
                lines.append(f'{message.name} = GetMessageClass(POOL.FindMessageTypeByName("{full_name}"))\n')
    return "".join(lines)


def main() -> int:
    """Writes or compares; the exit status is 1 where the two differ."""
    text = module_text()
    if "--check" in sys.argv[1:]:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
