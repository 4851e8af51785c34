"""TorchServe's handler: its batches of bodies go to the session together, and the answers go back one by one."""

import os
import sys

sys.path.insert(0, os.environ["PEER_SOURCE"])

from ts.torch_handler.base_handler import BaseHandler
from work import Work, from_bytes, from_instances, joined


class Handler(BaseHandler):
    def initialize(self, context):
        self.work = Work()
        self.initialized = True

    def handle(self, data, context):
        found = self.work.run(joined([self._read(row.get("body") or row.get("data")) for row in data]))
        return [{"predictions": [one.tolist()]} for one in found]

    def _read(self, body):
        if isinstance(body, dict):  # JSON is read by TorchServe
            return from_instances(body["instances"])
        return from_bytes(bytes(body))
