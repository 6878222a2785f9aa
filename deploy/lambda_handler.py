"""An AWS Lambda function that answers with the engine: a folder of BERTIE_MODEL does BERTIE_TASK.

    pip install --target package bertie && cp lambda_handler.py package && cp -r my-model package
    cd package && zip -r ../function.zip .  # handler: lambda_handler.handler; 1,769 MB of memory are one core

The body of a request is {"inputs": …} with the task's options beside it: {"inputs": "A [MASK] sat.", "top_k": 1}.
"""

import base64
import json
import os
import sys
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is looked for elsewhere while a request waits

import numpy as np

import bertie
from bertie.errors import BertieError

# made once, while the environment starts; requests to a warm one find it here
PIPELINE = bertie.pipeline(os.environ.get("BERTIE_TASK", "fill-mask"), os.environ.get("BERTIE_MODEL"))


def handler(event: dict[str, Any], _context: object = None) -> dict[str, Any]:
    """Answer a request of a function's URL or of API Gateway."""
    try:
        body = event.get("body") or "{}"
        asked = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
        if not isinstance(asked, dict) or "inputs" not in asked:
            return reply(400, {"error": 'The body is {"inputs": …}, with options of the task beside it.'})
        answers = PIPELINE(asked.pop("inputs"), **asked)
        return reply(200, answers.tolist() if isinstance(answers, np.ndarray) else answers)
    except BertieError as error:
        return reply(400, {"error": str(error)})
    except ValueError as error:
        return reply(400, {"error": f"The body is not JSON: {error}."})


def reply(status: int, answer: Any) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)}


if __name__ == "__main__":  # as Lambda calls it: python lambda_handler.py < event.json
    print(json.dumps(handler(json.load(sys.stdin))))
