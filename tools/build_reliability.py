"""Write the table of faults in docs/reliability.md; `--check` fails where it is stale or names a test that is no more.

The list below is the source: what goes wrong, what is answered, and the test that holds the server to it.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
START, END = "<!-- generated: faults -->", "<!-- end of faults -->"

REQUESTS, TRANSPORT = "serving/faults/test_requests.py", "serving/faults/test_transport.py"
ARTIFACTS, LIFE = "serving/faults/test_artifacts.py", "serving/faults/test_lifecycle.py"
LIES = f"{REQUESTS}::test_tensors_that_lie_about_themselves"
NAMES = f"{REQUESTS}::test_names_versions_and_labels_that_are_not_there"
LENGTHS = "serving/test_oip_binary.py::test_header_lengths_that_are_none"
SIZES = "serving/test_oip_binary.py::test_sizes_that_lie"
LAID = f"{ARTIFACTS}::test_what_cannot_be_served_is_said_and_what_is_served_goes_on"

Fault = tuple[str, str, str]

FAULTS: Mapping[str, Sequence[Fault]] = {
    "Requests": [
        ("an empty body; JSON cut short; not UTF-8; no object", "400", f"{REQUESTS}::test_what_is_no_object_is_a_400"),
        ("250,000 levels of lists or objects", "400, in milliseconds", f"{REQUESTS}::test_nesting_without_end_is_refused_at_once"),
        ("a gigabyte of JSON, with and without its length", "413 after 64 MiB at most", f"{REQUESTS}::test_a_gigabyte_of_json_is_refused_before_it_is_held"),
        ("NaN and infinity where JSON has none", "400", LIES),
        ("NaN and infinity in TensorFlow Serving's form", "read, and written back", "serving/test_tfserving.py::test_nan_and_infinity_go_in_and_come_out"),
        ("a number beyond every type: `1e999`, 5,000 digits", "400", f"{REQUESTS}::test_numbers_beyond_every_type"),
        ("whole numbers out of the tensor's range", "400 with the range", LIES),
        ("`true` among numbers: pixels, tensors, a table's columns", "400 (`:classify` and `:regress` take it as 1)", f"{REQUESTS}::test_truth_values_are_no_numbers_in_any_protocol"),
        ("half a surrogate pair in JSON", "400", f"{REQUESTS}::test_half_a_surrogate_pair_is_no_text"),
        ("ragged lists; another type, rank or count", "400 with expected and received", "serving/test_oip.py::test_inputs_that_do_not_fit"),
        ("a shape whose product overflows; a negative or empty size", "400, before anything is made", LIES),
        ("the same in gRPC's tensors", "INVALID_ARGUMENT", "serving/test_tfserving_tensors.py::test_shapes_are_checked_before_anything_is_made"),
        ("an input twice; a key twice", "400; the last counts", f"{REQUESTS}::test_an_input_twice_and_a_key_twice"),
        ("an output that isn't there, or twice", "400 with those that are", "serving/test_oip.py::test_requests_that_do_not_fit"),
        ("`binary_data_size` too small, too large, negative, no number", "400", SIZES),
        ("bytes left over behind the JSON", "400", "serving/test_oip_binary.py::test_bytes_left_over_or_without_a_header"),
        ("texts in bytes whose lengths lie", "400", "serving/test_oip_binary.py::test_texts_whose_lengths_lie"),
        ("a header length negative, huge, no number", "400", LENGTHS),
        ("bad base64", "400", "serving/test_models.py::test_what_does_not_fit_is_a_400"),
        ("NUL, `..`, `%2e%2e`, odd letters in names", "404; 400 within a tensor", NAMES),
        ("an unknown version or label", "404 with those that are", NAMES),
        ("a version of 5,000 digits", "404; 400 where TensorFlow Serving says so", NAMES),
        ("a method that a path doesn't have", "405 with `Allow`", f"{REQUESTS}::test_a_wrong_method_is_told_the_right_one"),
        ("more than 10,000 rows", "413", "serving/test_native.py::test_bodies_and_rows_are_capped"),
        ("values that only the graph can refuse", "400; others in the batch are answered", "serving/test_oip_binary.py::test_what_only_the_graph_can_know_is_the_callers_fault_too"),
        ("thousands of requests with damaged bytes behind JSON", "answered or 4xx; no growth", "serving/faults/test_fuzz.py::test_bytes_behind_json"),
        ("thousands of damaged JSON bodies, all protocols", "answered or 4xx; no growth", "serving/faults/test_fuzz.py::test_json_of_every_protocol"),
        ("odd heads and paths", "answered or 4xx", "serving/faults/test_fuzz.py::test_heads_and_paths"),
    ],
    "Transport": [
        ("a body over the limit", "413, before it is held", "serving/test_connection.py::test_a_body_that_is_too_large_is_refused_before_it_is_held"),
        ("a gzip or deflate bomb", "413, without being unpacked", f"{REQUESTS}::test_packed_bombs_are_refused_without_being_unpacked"),
        ("a packed body cut short, followed by more, of another kind", "400; 415", f"{REQUESTS}::test_packed_bodies_that_lie"),
        ("large bodies that together would take over 1 GiB", "503 with `Retry-After`", f"{REQUESTS}::test_large_bodies_together_take_no_more_than_there_is_room_for"),
        ("a million chunks of one byte", "answered; under 40 MiB", f"{TRANSPORT}::test_a_million_chunks_of_one_byte_cost_their_bytes_and_no_more"),
        ("a head that never ends", "408 after 20 s", "serving/test_connection.py::test_a_head_that_never_ends_is_ended"),
        ("a head that is too large", "431", "serving/test_connection.py::test_a_head_that_is_too_large_is_refused"),
        ("a body that never comes", "408 after 60 s", "serving/test_connection.py::test_a_body_that_never_comes_is_given_up"),
        ("a reply that is never read", "hung up after 60 s; the model is let go", f"{TRANSPORT}::test_who_asks_and_never_reads_is_cut_off"),
        ("a caller that closes its side and waits", "answered", f"{TRANSPORT}::test_a_caller_may_close_its_side_and_still_be_answered"),
        ("half a request, then the end", "let go", f"{TRANSPORT}::test_half_a_request_and_no_more_is_let_go"),
        ("callers that leave before the reply", "nothing is held", "serving/test_connection.py::test_those_who_leave_early_harm_nobody"),
        ("callers that leave during the reply, with a reset", "nothing is held", f"{TRANSPORT}::test_leaving_before_and_during_the_reply_holds_nothing"),
        ("pipelined requests", "answered in order", f"{TRANSPORT}::test_many_pipelined_requests_are_answered_in_order_on_one_connection"),
        ("two lengths; a length and chunks", "400, and the connection closed", f"{TRANSPORT}::test_two_lengths_are_refused_and_the_connection_closed"),
        ("what is no HTTP", "400", "serving/test_connection.py::test_what_is_no_http_gets_a_400"),
        ("CONNECT, upgrades, HTTP/2 in the clear", "4xx, or the plain answer", f"{TRANSPORT}::test_other_ways_of_speaking_http"),
        ("10,000 idle connections", "others are answered", f"{TRANSPORT}::test_thousands_of_idle_connections_keep_nobody_out"),
        ("open files run out", "the longest idle gives way", f"{TRANSPORT}::test_open_files_that_run_out_cost_the_idle_their_place"),
        ("slow heads on every connection", "the oldest gives way", f"{TRANSPORT}::test_those_who_keep_writing_a_head_give_way_to_those_who_ask"),
        ("thousands of connections that come and go", "memory stays", f"{TRANSPORT}::test_connections_that_have_ended_leave_nothing_behind"),
        ("a thousand requests in hand", "503 with `Retry-After`; health answers", f"{TRANSPORT}::test_a_thousand_in_hand_and_health_still_answers"),
        ("an idle TLS connection at the end", "closed at once", "serving/test_launch.py::test_an_idle_tls_connection_keeps_no_server_from_ending"),
        ("the port is taken", "exit 2 before anything is loaded", f"{LIFE}::test_a_port_that_is_taken_is_said_before_anything_is_loaded"),
        ("the gRPC port is taken", "exit 2 before anything is loaded", "serving/test_grpc_server.py::test_a_port_that_is_taken_is_said_before_anything_is_loaded"),
        ("no token, or one without the role", "401; 403", "serving/test_tokens.py::test_each_role_opens_its_routes_only"),
        ("a token that was taken away while running", "401", "serving/test_tokens.py::test_a_changed_file_counts_and_a_broken_one_does_not"),
        ("a gRPC call without a token", "UNAUTHENTICATED", "serving/test_grpc_tokens.py::test_a_call_needs_a_token_with_the_role"),
        ("a gRPC message over the limit", "RESOURCE_EXHAUSTED", f"{TRANSPORT}::test_a_grpc_message_over_the_limit_is_refused"),
        ("a gRPC call cancelled, or late", "CANCELLED; DEADLINE_EXCEEDED", f"{TRANSPORT}::test_a_grpc_caller_that_leaves_or_runs_out_of_time_is_let_go"),
        ("what is no gRPC message or method", "INVALID_ARGUMENT; UNIMPLEMENTED", "serving/test_grpc_server.py::test_what_is_no_message_and_what_is_no_method"),
    ],
    "Bundles": [
        ("a file missing, cut short, changed by one bit", "refused before it is parsed", LAID),
        ("a file cut at any place", "refused", "bundle/test_archive.py::test_an_archive_cut_at_any_place_is_refused"),
        ("a bit flipped in any file", "refused", "bundle/test_bundle.py::test_a_flipped_bit_in_any_file_is_noticed"),
        ("a manifest or an id that isn't the sealed one", "refused", "bundle/test_bundle.py::test_a_wrong_id_is_noticed"),
        ("a newer format", "refused: upgrade", "bundle/test_bundle.py::test_a_newer_format_says_to_upgrade"),
        ("a file that was never sealed", "refused", "bundle/test_bundle.py::test_an_extra_file_is_refused"),
        ("a path that leaves (`..`, absolute)", "refused", "bundle/test_bundle.py::test_a_path_that_leaves_the_bundle_is_refused"),
        ("the same in an archive", "refused", "bundle/test_archive.py::test_zip_slip_is_refused"),
        ("links and devices in an archive", "refused", "bundle/test_archive.py::test_special_members_are_refused"),
        ("a symbolic link; a pipe in place of a file", "refused, without waiting", LAID),
        ("a name twice, or in another case", "refused", "bundle/test_archive.py::test_a_name_twice_or_in_another_case_is_refused"),
        ("an archive that unpacks to too much", "refused", "bundle/test_archive.py::test_sizes_and_counts_are_capped"),
        ("weights in other files, within or outside", "refused", "bundle/test_onnxscan.py::test_external_data_is_refused_in_initialisers_attributes_and_subgraphs"),
        ("an imported graph whose weights lie outside", "never read", "bundle/test_foreign.py::test_weights_outside_the_folder_are_never_read"),
        ("operators that reach outside the graph", "refused", "bundle/test_onnxscan.py::test_foreign_operators_are_refused"),
        ("subgraphs without end", "refused", "bundle/test_onnxscan.py::test_graphs_nested_without_end_are_refused"),
        ("an opset that this onnxruntime doesn't know", "refused: which, and what it knows", LAID),
        ("weights of NaN under a good seal", "refused: golden rows differ", LAID),
        ("another graph under a good seal", "refused: golden rows differ", "bundle/test_bundle.py::test_another_graph_under_a_good_hash_fails_its_golden_rows"),
        ("21 such faults laid into a running server's folder", "each said once; what is served goes on", LAID),
        ("a server started with them", "exit 2 and the reason", f"{ARTIFACTS}::test_a_server_does_not_start_with_them_and_says_why"),
    ],
    "Life": [
        ("a version half copied", "not served until it is whole", "serving/test_follow.py::test_a_half_copied_version_is_never_served_and_is_when_it_is_whole"),
        ("a version with other golden answers", "the old one goes on", "serving/test_follow.py::test_a_version_with_other_golden_answers_leaves_the_old_one"),
        ("a model that can't be loaded again", "the old one goes on", "serving/test_oip.py::test_a_model_that_cannot_be_loaded_again_goes_on_as_it_was"),
        ("versions change under load", "no request fails", "serving/test_follow.py::test_no_request_fails_while_versions_change"),
        ("labels switch under load", "no request fails", "serving/test_follow.py::test_a_label_switch_under_load_loses_nothing"),
        ("a label for a version that isn't there", "said once; it waits for it", "serving/test_follow.py::test_a_label_for_a_version_that_is_not_there_is_said_once_and_comes_with_it"),
        ("a process is replaced after a label's version has left", "it serves; the label waits", "serving/test_hub.py::test_a_label_whose_version_has_left_keeps_no_process_from_serving"),
        ("a process is replaced after a change that can't be made any more", "it serves; said once", "serving/test_hub.py::test_a_change_that_cannot_be_made_any_more_is_left_out_and_said_once"),
        ("one name loaded and unloaded at once", "200 or 404, and a good end", f"{LIFE}::test_loading_and_unloading_one_name_at_once_ends_well"),
        ("the repository is deleted", "what is served goes on", f"{LIFE}::test_a_deleted_repository_keeps_what_is_served"),
        ("the storage is away and comes back", "what is served goes on", "serving/test_follow.py::test_an_outage_of_the_storage_stops_nothing"),
        ("SIGTERM under load", "no request is lost", "serving/test_processes.py::test_a_drain_under_load_loses_nothing"),
        ("SIGTERM while a model runs", "answered, then exit 0", f"{LIFE}::test_told_to_stop_while_it_works_it_answers_first"),
        ("SIGTERM after engines were measured", "drains, exit 0", f"{LIFE}::test_told_to_stop_after_measuring_engines_it_drains"),
        ("told twice to stop", "ends at once, every process", "serving/test_processes.py::test_told_twice_to_stop_nobody_is_waited_for_any_longer"),
        ("SIGTERM while it starts", "it stops", f"{LIFE}::test_told_to_stop_while_it_starts_it_stops"),
        ("SIGKILL of a process", "what it held is lost, nothing else", "serving/test_processes.py::test_a_killed_process_costs_only_what_was_in_its_hands"),
        ("a crash within a model (SIGSEGV)", "one process, started again", f"{LIFE}::test_a_crash_within_a_model_takes_one_process_only"),
        ("processes that die at once", "started ever less often; the others answer", f"{LIFE}::test_processes_that_die_at_once_are_started_ever_less_often"),
        ("the supervisor is killed", "its processes end", "serving/test_processes.py::test_the_processes_end_with_their_supervisor"),
        ("a model that hangs", "504 in time; health says so; others answer", f"{LIFE}::test_a_model_that_hangs_costs_its_callers_their_deadline_and_nobody_else"),
        ("callers that wait behind it", "504 in time", f"{LIFE}::test_callers_who_wait_behind_a_model_that_hangs_are_told_in_time"),
        ("a deadline shorter than the work", "504 in time", f"{LIFE}::test_a_deadline_shorter_than_the_work_is_kept"),
        ("a deadline that passed in the queue", "504, never run", "serving/test_batcher.py::test_who_has_expired_is_never_run"),
        ("the queue is full", "429 with `Retry-After`", f"{LIFE}::test_a_full_queue_says_when_to_come_back"),
        ("memory runs out in a model", "400 for that request; the server goes on", f"{LIFE}::test_memory_that_runs_out_fails_one_request"),
        ("large batches, then none", "memory is given back", "serving/test_engines.py::test_memory_comes_back_after_large_batches"),
        ("the disk of the state is full", "said; no request fails", f"{LIFE}::test_a_full_disk_for_the_state_stops_no_request"),
        ("the state's folder can't be written", "exit 2 and the reason", f"{LIFE}::test_a_state_folder_that_cannot_be_written_is_said_at_the_start"),
        ("the state's folder vanishes", "made again", f"{LIFE}::test_a_state_folder_that_vanishes_stops_no_request"),
        ("a damaged state", "kept aside; a new one begins", "serving/test_state.py::test_a_damaged_or_foreign_state_is_kept_aside_and_told"),
        ("the disk of the log is full", "no request fails", f"{LIFE}::test_a_full_disk_for_the_log_stops_no_request"),
        ("the clock jumps", "deadlines and rates stay", f"{LIFE}::test_a_clock_that_jumps_changes_no_deadline_and_no_rate"),
        ("a token file that is broken while running", "the old one counts", "serving/test_tokens.py::test_a_changed_file_counts_and_a_broken_one_does_not"),
    ],
}  # fmt: skip


@cache
def tests_in(name: str) -> frozenset[str]:
    """Return the test functions of a file below tests/; none where there is no such file."""
    path = ROOT / "tests" / name
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(name for name in found if name.startswith("test_"))


def missing(faults: Mapping[str, Sequence[Fault]]) -> list[str]:
    """Return the tests that are named and aren't there."""
    named = {test for group in faults.values() for _, _, test in group}
    return sorted(test for test in named if test.partition("::")[2] not in tests_in(test.partition("::")[0]))


def table(faults: Mapping[str, Sequence[Fault]]) -> str:
    """Return the page's section."""
    counts = ", ".join(f"{len(group)} of {title.lower()}" for title, group in faults.items())
    tests = {test for group in faults.values() for _, _, test in group}
    parts = [
        f"{sum(map(len, faults.values()))} faults ({counts}), held by {len(tests)} tests, nearly all against a server"
        " that was really started."
    ]
    for title, group in faults.items():
        parts += ["", f"## {title}", "", "| fault | answer | test |", "|---|---|---|"]
        for fault, answer, test in group:
            file, _, name = test.partition("::")
            shown = f"{file.rpartition('/')[2]}::{name}"
            parts.append(f"| {fault} | {answer} | [`{shown}`](../tests/{file}) |")
    return "\n".join(parts)


def rebuilt(text: str) -> str:
    """Return the page with its table written anew."""
    before, _, rest = text.partition(START)
    return f"{before}{START}\n\n{table(FAULTS)}\n\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite or check the page; return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    check = parser.parse_args(arguments).check
    lost = missing(FAULTS)
    for test in lost:
        print(f"docs/reliability.md: no such test: tests/{test}", file=sys.stderr)
    old = PAGE.read_text(encoding="utf-8")
    new = rebuilt(old)
    if new != old and check:
        print("docs/reliability.md is out of date: run `make docs`", file=sys.stderr)
    elif new != old:
        PAGE.write_text(new, encoding="utf-8")
        print("wrote docs/reliability.md")
    return int(bool(lost) or (check and new != old))


if __name__ == "__main__":
    sys.exit(main())
