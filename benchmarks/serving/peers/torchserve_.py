"""TorchServe 0.12: an archive with a handler that runs the session, batches of up to 16, a worker a core."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from work import MODEL, PORT, PROCESSES

folder, here = Path(os.environ["PEER_FOLDER"]), Path(__file__).parent
store = folder / "store"
os.environ["PEER_SOURCE"] = str(here)

if sys.argv[1:] == ["prepare"]:
    store.mkdir(exist_ok=True)
    settings = folder / "model-config.yaml"
    settings.write_text(
        f"minWorkers: {PROCESSES}\nmaxWorkers: {PROCESSES}\nbatchSize: 16\nmaxBatchDelay: 1\nresponseTimeout: 120\n"
    )
    subprocess.run(
        [
            Path(sys.executable).with_name("torch-model-archiver"), "--model-name", MODEL["name"], "--version", "1.0",
            "--handler", here / "torchserve_handler.py", "--config-file", settings, "--export-path", store, "--force",
        ],
        check=True,
    )  # fmt: skip
else:
    address = "http://127.0.0.1"
    settings = {
        "inference_address": f"{address}:{PORT}", "management_address": f"{address}:{PORT + 1}",
        "metrics_address": f"{address}:{PORT + 2}", "grpc_inference_port": PORT + 3, "grpc_management_port": PORT + 4,
        "model_store": store, "load_models": f"{MODEL['name']}.mar", "disable_token_authorization": "true",
        "enable_envvars_config": "true", "async_logging": "true", "prefer_direct_buffer": "true",
        "disable_system_metrics": "true", "job_queue_size": 1000, "number_of_netty_threads": 2,
    }  # fmt: skip
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    logs = folder / "log4j2.xml"
    logs.write_text('<Configuration><Loggers><Root level="error"/></Loggers></Configuration>')
    os.execv(
        Path(sys.executable).with_name("torchserve"),
        ["torchserve", "--start", "--foreground", "--ncs", "--ts-config", str(config), "--log-config", str(logs)],
    )
