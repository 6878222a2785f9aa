"""BERT's siblings, one row each: how their files and computation differ from BERT's.

The rest of bertie knows only BERT's names: configs and checkpoints are translated when they are read and written, and
`FamilyConfig` tells layers and the engine what else they need to know.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bertie.messages import short
from bertie.progress import say_once

# the classes of every family; then those that only BERT has
CLASSES = (
    *("BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForMultipleChoice"),
    *("BertForTokenClassification", "BertForQuestionAnswering"),
)
_BERT_ALONE = ("BertForPreTraining", "BertForNextSentencePrediction", "BertLMHeadModel")
_Names = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Family:
    """How a model type differs from BERT."""

    name: str  # prefix of its class names
    prefix: str  # attribute name of the encoder in a task model
    # module paths, BERT's → this family's; the longest match wins, and * stands for a number
    modules: _Names = field(default_factory=dict)
    # the same for individual classes, by BERT's class name
    heads: Mapping[str, _Names] = field(default_factory=dict)
    fields: _Names = field(default_factory=dict)  # config.json fields, BERT's → this family's
    defaults: Mapping[str, Any] = field(default_factory=dict)  # defaults that differ from BERT's
    fixed: Mapping[str, Any] = field(default_factory=dict)  # fields absent from the family's files, and their values
    has_pooler: bool = True  # whether the bare encoder has a pooler
    pooler_act: str = "tanh"  # activation of the dense layer between the first token and the classifier
    transform_act: str | None = None  # activation of the masked-LM head; None: the config's hidden_act
    # whether a sequence classifier also applies dropout before its dense layer
    dropout_before_dense: bool = False
    # for individual classes, or for all (""): config.json fields and the only value that is supported
    supported: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # buckets of the relative position bias, which all blocks share (Raffel et al. 2020, section 2.1); 0: no such bias
    position_buckets: int = 0
    # whether positions start at pad_token_id + 1 and skip padding, as in fairseq (Liu et al. 2019)
    skips_padding: bool = False

    @property
    def is_bert(self) -> bool:
        return self.prefix == "bert"

    def has_class(self, name: str) -> bool:
        """Whether a model of the family may be of this class, which is BERT's or user-defined."""
        return self.is_bert or name not in _BERT_ALONE

    def why_not(self, name: str, fields: Mapping[str, Any]) -> str:
        """Return why a model with these config fields cannot be loaded as BERT's class ``name``, or an empty string."""
        if not self.has_class(name):
            return f"{name} is for BERT alone, and models of {self.name} are read as {', '.join(CLASSES)}"
        for key, known in {**self.supported.get("", {}), **self.supported.get(name, {})}.items():
            if fields.get(key, known) != known:
                return f"its {key} is {fields[key]!r:.40}, but {self.class_name(name)} supports only {known!r}"
        return ""

    def class_name(self, name: str) -> str:
        """Return the family's name for a class of BERT's; any other name is returned unchanged."""
        return self.name + name.removeprefix("Bert") if name in CLASSES else name

    def modules_of(self, architecture: str) -> _Names:
        """Return the module paths, BERT's → the family's, of BERT's class ``architecture``."""
        return {**self.modules, **self.heads.get(architecture, {})}

    def read_fields(self, stated: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a config.json under BERT's names; those that already have them are kept."""
        theirs = {name: ours for ours, name in self.fields.items()}
        read = {**self.defaults, **stated}
        read |= {theirs[name]: read.pop(name) for name in list(read) if name in theirs}
        if isinstance(classes := read.get("architectures"), list):
            known = {self.class_name(name): name for name in CLASSES}
            read["architectures"] = [known.get(name, name) if isinstance(name, str) else name for name in classes]
        return {**read, **self.fixed}

    def written_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields as in the family's config.json: the inverse of `read_fields`."""
        written = {
            self.fields.get(name, name): value
            for name, value in fields.items()
            if name not in self.fixed and (value is not None or name not in self.fields)
        }
        if classes := written.get("architectures"):
            written["architectures"] = [self.class_name(name) for name in classes]
        return written


# a classification head that contains the dense layer of BERT's pooler
_TWO_LAYERS = {"bert.pooler.dense": "classifier.dense", "classifier": "classifier.out_proj"}
_PRE_CLASSIFIER = {"bert.pooler.dense": "pre_classifier"}
_SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
_BLOCK, _DISTILBERT_BLOCK = "bert.encoder.layer.*", "distilbert.transformer.layer.*"
_MPNET_ATTENTION = "mpnet.encoder.layer.*.attention"
_LM_HEAD = {
    "cls.predictions": "lm_head",
    "cls.predictions.transform.dense": "lm_head.dense",
    "cls.predictions.transform.LayerNorm": "lm_head.layer_norm",
}


def _roberta(name: str, **defaults: Any) -> Family:
    return Family(
        name=name,
        prefix="roberta",
        modules={"bert": "roberta", **_LM_HEAD},
        heads={"BertForSequenceClassification": _TWO_LAYERS},
        defaults={"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **defaults},
        transform_act="gelu",
        dropout_before_dense=True,
        skips_padding=True,
    )


FAMILIES = {
    "bert": Family(name="Bert", prefix="bert"),
    "roberta": _roberta("Roberta", vocab_size=50265),
    "xlm-roberta": _roberta("XLMRoberta"),
    "camembert": _roberta("Camembert"),
    "distilbert": Family(
        name="DistilBert",
        prefix="distilbert",
        modules={
            "bert": "distilbert",
            "bert.encoder": "distilbert.transformer",
            f"{_BLOCK}.attention.self.query": f"{_DISTILBERT_BLOCK}.attention.q_lin",
            f"{_BLOCK}.attention.self.key": f"{_DISTILBERT_BLOCK}.attention.k_lin",
            f"{_BLOCK}.attention.self.value": f"{_DISTILBERT_BLOCK}.attention.v_lin",
            f"{_BLOCK}.attention.output.dense": f"{_DISTILBERT_BLOCK}.attention.out_lin",
            f"{_BLOCK}.attention.output.LayerNorm": f"{_DISTILBERT_BLOCK}.sa_layer_norm",
            f"{_BLOCK}.intermediate.dense": f"{_DISTILBERT_BLOCK}.ffn.lin1",
            f"{_BLOCK}.output.dense": f"{_DISTILBERT_BLOCK}.ffn.lin2",
            f"{_BLOCK}.output.LayerNorm": f"{_DISTILBERT_BLOCK}.output_layer_norm",
            "cls.predictions.transform.dense": "vocab_transform",
            "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
            "cls.predictions.decoder": "vocab_projector",
            "cls.predictions.bias": "vocab_projector.bias",
        },
        heads={"BertForSequenceClassification": _PRE_CLASSIFIER, "BertForMultipleChoice": _PRE_CLASSIFIER},
        fields={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
            "classifier_dropout": "seq_classif_dropout",
        },
        defaults={"num_hidden_layers": 6, "classifier_dropout": 0.2},
        fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12},
        has_pooler=False,
        pooler_act="relu",
    ),
    "electra": Family(
        name="Electra",
        prefix="electra",
        modules={
            "bert": "electra",
            "bert.embeddings.projection": "electra.embeddings_project",
            "cls.predictions.transform": "generator_predictions",
            "cls.predictions.decoder": "generator_lm_head",
            "cls.predictions.bias": "generator_lm_head.bias",
        },
        heads={
            "BertForSequenceClassification": _TWO_LAYERS,
            "BertForMultipleChoice": {"bert.pooler.dense": "sequence_summary.summary"},
        },
        defaults={"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
        has_pooler=False,
        pooler_act="gelu",
        transform_act="gelu",
        dropout_before_dense=True,
        supported={"BertForMultipleChoice": _SUMMARY},
    ),
    "mpnet": Family(
        name="MPNet",
        prefix="mpnet",
        modules={
            "bert": "mpnet",
            f"{_BLOCK}.attention.self.query": f"{_MPNET_ATTENTION}.attn.q",
            f"{_BLOCK}.attention.self.key": f"{_MPNET_ATTENTION}.attn.k",
            f"{_BLOCK}.attention.self.value": f"{_MPNET_ATTENTION}.attn.v",
            f"{_BLOCK}.attention.output.dense": f"{_MPNET_ATTENTION}.attn.o",
            f"{_BLOCK}.attention.output.LayerNorm": f"{_MPNET_ATTENTION}.LayerNorm",
            **_LM_HEAD,
        },
        heads={"BertForSequenceClassification": _TWO_LAYERS},
        defaults={"vocab_size": 30527, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
        fixed={"type_vocab_size": 0},
        transform_act="gelu",
        dropout_before_dense=True,
        skips_padding=True,
        supported={"": {"pad_token_id": 1, "relative_attention_num_buckets": 32}},
        position_buckets=32,
    ),
}
PREFIXES = tuple(dict.fromkeys(family.prefix for family in FAMILIES.values()))


def in_bert_names(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of any family's config.json under BERT's names."""
    kind = str(stated.get("model_type", "bert"))
    family = FAMILIES.get(kind, FAMILIES["bert"])  # BertConfig refuses any other type
    data = family.read_fields(stated)
    if kind not in FAMILIES:
        return data
    if "embedding_size" not in family.defaults and data.get("embedding_size") not in (None, data.get("hidden_size")):
        width = short(data.pop("embedding_size"))
        say_once(f"the config's embedding_size ({width}) has no effect: only ELECTRA projects its embeddings")
    return data


class FamilyConfig:
    """What layers and the engine need to know of a config that depends on its family."""

    model_type: str
    vocab_size: int
    hidden_size: int
    hidden_act: str | Callable[..., Any]
    max_position_embeddings: int
    type_vocab_size: int
    embedding_size: int | None
    pad_token_id: int | None
    is_decoder: bool

    @property
    def family(self) -> Family:
        """The family of ``model_type``."""
        return FAMILIES.get(self.model_type, FAMILIES["bert"])

    @property
    def embedding_width(self) -> int:
        """The width of the embeddings, before they are projected to ``hidden_size``."""
        return self.embedding_size or self.hidden_size

    @property
    def first_position(self) -> int:
        """The position id of a text's first token."""
        return (self.pad_token_id or 0) + 1 if self.family.skips_padding else 0

    @property
    def max_tokens(self) -> int:
        """The maximum length of a text in tokens."""
        return self.max_position_embeddings - self.first_position

    @property
    def transform_act(self) -> str | Callable[..., Any]:
        """The activation of the masked-LM head's transform."""
        return self.family.transform_act or self.hidden_act

    def why_not(self, architecture: str) -> str:
        """Return why a model with this config cannot be loaded as BERT's class ``architecture``, or an empty string."""
        return self.family.why_not(architecture, self.__dict__)

    def family_conflicts(self) -> Iterator[tuple[bool, str]]:
        """Yield (whether it occurs, message) for each combination of fields that the family does not allow."""
        family, kind = self.family, f"of type {self.model_type!r}"
        yield (
            self.is_decoder and not family.is_bert,
            f"is_decoder is true in a config {kind}; only a BERT can be a decoder",
        )
        types = self.type_vocab_size
        no_types = types != family.fixed.get("type_vocab_size", types or 1)
        yield no_types, f"type_vocab_size is {types}, which no model {kind} has"
        yield (
            self.embedding_width != self.hidden_size and "embedding_size" not in family.defaults,
            f"embedding_size is {self.embedding_size} and hidden_size {self.hidden_size}; only ELECTRA projects its "
            "embeddings to another width",
        )
        yield (
            family.skips_padding and self.pad_token_id is None,
            f"pad_token_id is None, but positions of models {kind} count from the one after it",
        )
        yield (
            self.max_tokens < 1,
            f"max_position_embeddings is {self.max_position_embeddings}, but the first token has position "
            f"{self.first_position}",
        )
