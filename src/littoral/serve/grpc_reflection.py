"""Server reflection: a client without the .proto files asks what is served here, and in which messages."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from littoral.core.errors import LittoralError
from littoral.net import oip_pb2 as pb
from littoral.net.frame import Buffer
from littoral.net.oip_grpc import parse_message
from littoral.serve.grpc_methods import Methods, StreamCall, Streaming, going_away, whole

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_NOT_FOUND = 5
_UNIMPLEMENTED = 12


def reflection_methods(services: tuple[str, ...]) -> Methods:
    """The methods of both versions, whose messages are the same; `services` are listed besides."""
    listed = (*services, *SERVICES)
    method = Streaming(lambda call: _Reflection(call, listed))
    return {f"/{service}/ServerReflectionInfo": method for service in SERVICES}


class _Reflection:
    """One client's questions, each answered at once."""

    def __init__(self, call: StreamCall, services: tuple[str, ...]) -> None:
        self._call = call
        self._services = services

    def message(self, message: Buffer) -> None:
        try:
            asked = parse_message(pb.ServerReflectionRequest, message)
        except LittoralError as error:
            self._call.finish(error)
            return
        answer = pb.ServerReflectionResponse(valid_host=asked.host, original_request=asked)
        _answer(asked, answer, self._services)
        self._call.send(whole(answer))
        self._call.consumed(len(message))

    def ended(self) -> None:
        self._call.finish()

    def leave(self) -> None:
        self._call.finish(going_away())

    def advance(self) -> None:
        """Nothing is ever put off."""

    def closed(self) -> None:
        """Nothing is kept."""


def _answer(asked: Any, answer: Any, services: tuple[str, ...]) -> None:
    question = asked.WhichOneof("message_request")
    try:
        if question == "list_services":
            for name in services:
                answer.list_services_response.service.add(name=name)
        elif question == "file_by_filename":
            _add_files(answer, pb.POOL.FindFileByName(asked.file_by_filename))
        elif question == "file_containing_symbol":
            _add_files(answer, pb.POOL.FindFileContainingSymbol(asked.file_containing_symbol))
        elif question == "all_extension_numbers_of_type":
            name = asked.all_extension_numbers_of_type
            pb.POOL.FindMessageTypeByName(name)
            answer.all_extension_numbers_response.base_type_name = name
        elif question == "file_containing_extension":
            _refuse(answer, _NOT_FOUND, "There are no extensions here.")
        else:
            _refuse(answer, _UNIMPLEMENTED, "The question is of an unknown kind.")
    except KeyError:
        _refuse(answer, _NOT_FOUND, f"{getattr(asked, question)[:80]!r} is not known here.")


def _refuse(answer: Any, code: int, text: str) -> None:
    answer.error_response.error_code = code
    answer.error_response.error_message = text


def _add_files(answer: Any, file: Any) -> None:
    """The file's description, behind those of the files that it imports."""
    for imported in file.dependencies:
        _add_files(answer, imported)
    description = FileDescriptorProto()
    file.CopyToProto(description)
    answer.file_descriptor_response.file_descriptor_proto.append(description.SerializeToString())
