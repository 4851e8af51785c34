"""Write the interface definitions that official client packages carry as descriptors back into .proto files.

The Python packages of TensorFlow Serving, Triton and gRPC ship their published interfaces compiled. A descriptor holds
all of a .proto file but its comments, so the files written here are complete, and each is compiled again and compared
with the descriptor that it came from. Run it in an environment that has the packages and grpcio-tools:

    python tools/restore_protos.py third_party/tensorflow_serving tensorflow_serving.apis.prediction_service_pb2 …
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2 as pb
from google.protobuf import text_format

Field = pb.FieldDescriptorProto
_TYPES = {number: name.removeprefix("TYPE_").lower() for name, number in Field.Type.items()}
_MOST_TAG = 536870912


def closure(modules: Iterable[str]) -> dict[str, pb.FileDescriptorProto]:
    """Return the files of compiled modules and all that they import, by name, without protobuf's own."""
    found: dict[str, pb.FileDescriptorProto] = {}
    waiting = [importlib.import_module(name).DESCRIPTOR for name in modules]
    while waiting:
        file = waiting.pop()
        if file.name in found or file.name.startswith("google/protobuf/"):
            continue
        found[file.name] = proto = pb.FileDescriptorProto()
        file.CopyToProto(proto)
        waiting += file.dependencies
    return found


def text_of(file: pb.FileDescriptorProto, source: str) -> str:
    """Return the .proto text of a file; `source` says where its descriptor came from."""
    syntax = file.syntax or "proto2"
    if syntax not in ("proto2", "proto3") or file.extension:
        raise ValueError(f"{file.name}: editions and extensions aren't written yet")
    lines = [f"// Restored from the descriptor in {source}; see README.md and the LICENSE of this folder.", ""]
    lines += [f'syntax = "{syntax}";', ""]
    if file.package:
        lines += [f"package {file.package};", ""]
    public = set(file.public_dependency)
    lines += [f'import {"public " if k in public else ""}"{name}";' for k, name in enumerate(file.dependency)]
    lines += _options(file)
    for enum in file.enum_type:
        lines += ["", *_enum(enum)]
    for message in file.message_type:
        lines += ["", *_message(message, syntax)]
    for service in file.service:
        lines += ["", *_service(service)]
    return "\n".join(lines) + "\n"


def _options(of: Any) -> list[str]:
    return [f"option {name} = {value};" for name, value in _option_values(of.options)]


def _option_values(options: Any) -> Iterator[tuple[str, str]]:
    for field, value in options.ListFields():
        if field.name == "map_entry":
            continue
        if field.enum_type is not None:
            yield field.name, field.enum_type.values_by_number[value].name
        elif isinstance(value, bool):
            yield field.name, "true" if value else "false"
        elif isinstance(value, str):
            yield field.name, f'"{text_format.text_encoding.CEscape(value, as_utf8=False)}"'
        else:
            raise ValueError(f"the option {field.full_name} isn't written yet")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _reserved(of: Any, inclusive: int) -> list[str]:
    ranges = [(one.start, one.end - 1 + inclusive) for one in of.reserved_range]
    lines = [
        f"reserved {a};" if a == b else f"reserved {a} to {'max' if b + 1 == _MOST_TAG else b};" for a, b in ranges
    ]
    return lines + [f'reserved "{name}";' for name in of.reserved_name]


def _enum(enum: pb.EnumDescriptorProto) -> list[str]:
    values = [f"{value.name} = {value.number}{_brackets(value)};" for value in enum.value]
    return [f"enum {enum.name} {{", *_indented([*_options(enum), *_reserved(enum, 1), *values]), "}"]


def _brackets(of: Any, more: Iterable[str] = ()) -> str:
    inside = ", ".join([*more, *(f"{name} = {value}" for name, value in _option_values(of.options))])
    return f" [{inside}]" if inside else ""


def _message(message: pb.DescriptorProto, syntax: str) -> list[str]:
    if message.extension or message.extension_range:
        raise ValueError(f"{message.name}: extensions aren't written yet")
    entries = {entry.name: entry for entry in message.nested_type if entry.options.map_entry}
    body = [*_options(message), *_reserved(message, 0)]
    for enum in message.enum_type:
        body += [*_enum(enum), ""]
    for nested in message.nested_type:
        if nested.name not in entries:
            body += [*_message(nested, syntax), ""]
    written: set[int] = set()
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            body.append(_field(field, entries, syntax))
        elif field.oneof_index not in written:
            written.add(field.oneof_index)
            group = message.oneof_decl[field.oneof_index]
            members = [
                one for one in message.field if one.HasField("oneof_index") and one.oneof_index == field.oneof_index
            ]
            body += [f"oneof {group.name} {{", *_indented(_field(one, entries, "") for one in members), "}"]
    return [f"message {message.name} {{", *_indented(body), "}"]


def _field(field: Field, entries: dict[str, pb.DescriptorProto], syntax: str) -> str:
    if field.HasField("default_value"):
        raise ValueError(f"{field.name}: default values aren't written yet")
    entry = entries.get(field.type_name.rpartition(".")[2]) if field.type_name else None
    if entry is not None and field.label == Field.LABEL_REPEATED:
        key, value = entry.field
        kind = f"map<{_TYPES[key.type]}, {value.type_name or _TYPES[value.type]}>"
    else:
        kind = field.type_name or _TYPES[field.type]
        if field.label == Field.LABEL_REPEATED:
            kind = "repeated " + kind
        elif field.proto3_optional or syntax == "proto2":
            kind = ("required " if field.label == Field.LABEL_REQUIRED else "optional ") + kind
    return f"{kind} {field.name} = {field.number}{_brackets(field)};"


def _service(service: pb.ServiceDescriptorProto) -> list[str]:
    body = _options(service)
    for method in service.method:
        asked = ("stream " if method.client_streaming else "") + method.input_type
        given = ("stream " if method.server_streaming else "") + method.output_type
        end = [" {", *_indented(_options(method)), "}"] if method.HasField("options") else [";"]
        body += [f"rpc {method.name}({asked}) returns ({given}){end[0]}", *end[1:]]
    return [f"service {service.name} {{", *_indented(body), "}"]


def compiled(roots: Iterable[Path], names: Iterable[str]) -> pb.FileDescriptorSet:
    """Return the descriptors of .proto files, as protoc makes them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        # In a process of its own: TensorFlow and protoc in one process end it.
        command = [sys.executable, "-E", "-m", "grpc_tools.protoc", *(f"-I{root}" for root in roots)]
        subprocess.run([*command, f"--descriptor_set_out={out}", *names], check=True)
        return pb.FileDescriptorSet.FromString(out.read_bytes())


def main() -> None:
    """Write the files of some modules into a folder, where another folder doesn't hold them already, and check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go, under their import names")
    parser.add_argument("source", help="the package and version that the modules belong to, for the files' first line")
    parser.add_argument("modules", nargs="+", help="compiled modules; what they import comes with them")
    parser.add_argument("--only", action="append", default=[], help="write only files whose names start so")
    parser.add_argument("--with", dest="others", type=Path, action="append", default=[], help="folders with imports")
    given = parser.parse_args()
    wanted = tuple(given.only) or ("",)
    found = {name: file for name, file in closure(given.modules).items() if name.startswith(wanted)}
    for name, file in found.items():
        path = given.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(file, given.source))
    again = {file.name: file for file in compiled([given.folder, *given.others], found).file}
    for name, file in found.items():
        for one in (file, again[name]):
            _normalise(one)
        if again[name] != file:
            lines = difflib.unified_diff(str(file).splitlines(), str(again[name]).splitlines(), "package", "restored")
            raise SystemExit(f"{name}: the restored file compiles to something else\n" + "\n".join(lines))
    print(f"{len(found)} files in {given.folder}; each compiles to the descriptor that it came from")


def _normalise(of: Any) -> None:
    """Drop what protoc derives from names, and the order of nested messages, which no reader sees."""
    nested = of.message_type if isinstance(of, pb.FileDescriptorProto) else of.nested_type
    for message in nested:
        for field in message.field:
            field.ClearField("json_name")
        _normalise(message)
    nested.sort(key=lambda message: message.name)


if __name__ == "__main__":
    main()
