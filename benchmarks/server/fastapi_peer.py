"""transformers and sentence-transformers behind FastAPI as people write it: one process, each request by itself.

MODEL=FOLDER python benchmarks/server/fastapi_peer.py --port PORT
"""

import os
import sys
from typing import Any

import transformers
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

MODEL = os.environ["MODEL"]
app = FastAPI()


class Texts(BaseModel):
    """What both routes take, as bertie's do."""

    inputs: list[str]


@app.post("/embed")
def embed(body: Texts) -> list[list[float]]:
    return encoder.encode(body.inputs, show_progress_bar=False).tolist()


@app.post("/tag")
def tag(body: Texts) -> list[list[dict[str, Any]]]:
    return [
        [{"label": one["entity_group"], "start": one["start"], "end": one["end"]} for one in found]
        for found in entities(body.inputs)
    ]


if __name__ == "__main__":
    config = transformers.AutoConfig.from_pretrained(MODEL)
    if "TokenClassification" in str(config.architectures):
        entities = transformers.pipeline("token-classification", MODEL, aggregation_strategy="simple", device="cpu")
    else:
        encoder = SentenceTransformer(MODEL, device="cpu")
    uvicorn.run(app, port=int(sys.argv[-1]), log_level="warning")
