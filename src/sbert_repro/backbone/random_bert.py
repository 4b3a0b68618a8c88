"""Randomly initialised BERT and RoBERTa models of any size, with tokenizers of their own.

They are saved as a pre-trained model is, so that whatever reads the one reads the other. They know
nothing of language: whatever a model trained from them can do, it has learnt here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    import transformers
    from transformers import BertModel

_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# RoBERTa's padding id is 1, and its positions are counted from there.
_ROBERTA_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@dataclass(frozen=True)
class Size:
    """The shape of a model, and how its first weights are drawn."""

    layers: int = 2
    width: int = 64
    heads: int = 4
    intermediate: int = 64
    positions: int = 130
    """Longest input: 128 word pieces and the two special tokens."""
    dropout: float = 0.0
    """A network this small has nothing to spare; BERT has 0.1."""
    spread: float = 0.07
    """Standard deviation of the first weights; BERT's 0.02 suits a width of 768."""
    seed: int = 0

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of a transformers configuration."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            "initializer_range": self.spread,
        }


def write_random_bert(
    folder: Path,
    vocabulary: Iterable[str],
    size: Size,
    start: Callable[[BertModel, dict[str, int]], None] | None = None,
) -> None:
    """Write a random BERT without pooler and a lower-casing word-piece tokenizer.

    Args:
        folder: Where to; made when missing.
        vocabulary: Lower-case words, and pieces of words that begin with "##". Letters and digits
            are added, so that any word of them can be spelt out.
        size: Shape and seed; the same size and vocabulary give the same weights.
        start: Gives the model other first weights; it gets the id of each piece too.
    """
    from transformers import BertConfig, BertModel, BertTokenizer

    letters = ascii_lowercase + digits + ".,!?'-"
    pieces = dict.fromkeys(
        [*_BERT_SPECIAL, *vocabulary, *letters, *(f"##{letter}" for letter in letters)]
    )
    ids = {piece: number for number, piece in enumerate(pieces)}
    config = BertConfig(
        vocab_size=len(ids), max_position_embeddings=size.positions, **size.options()
    )

    def make() -> BertModel:
        model = BertModel(config, add_pooling_layer=False)
        if start is not None:
            start(model, ids)
        return model

    _save_model(make, size.seed, folder)
    BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=size.positions).save_pretrained(
        folder
    )


def write_random_roberta(
    folder: Path, texts: Iterable[str], size: Size, *, pieces: int = 600
) -> None:
    """Write a random RoBERTa without pooler and a byte-level BPE tokenizer learnt from texts.

    Args:
        folder: Where to; made when missing.
        texts: Sentences to learn the byte pairs from.
        size: Shape and seed.
        pieces: Size of the vocabulary, the 256 bytes included.
    """
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    vocabulary, merges = _byte_pairs(texts, pieces)
    config = RobertaConfig(
        vocab_size=len(vocabulary),
        # The first two positions stand for nothing: padding has id 1, words follow it.
        max_position_embeddings=size.positions + 2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **size.options(),
    )
    _save_model(lambda: RobertaModel(config, add_pooling_layer=False), size.seed, folder)
    options: dict[str, Any] = {"vocab": vocabulary, "merges": merges}
    # Without the space a word at the start of a sentence would be another word.
    RobertaTokenizer(
        **options, add_prefix_space=True, model_max_length=size.positions
    ).save_pretrained(folder)


def _save_model(make: Callable[[], transformers.PreTrainedModel], seed: int, folder: Path) -> None:
    import torch
    import transformers

    # The global generator is what transformers draws from; it is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
    transformers.logging.disable_progress_bar()  # it would be a line for each model of 300 kB
    model.save_pretrained(folder)


def _byte_pairs(texts: Iterable[str], pieces: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=list(_ROBERTA_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]
