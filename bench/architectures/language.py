# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Transformers and other networks of the package transformers, small, with random weights: text, speech, images.

Those named `…_mask` are given a padding mask, without which torch's older exporter meets an operator that it does not know (aten::diff)."""
import torch, torch.nn as nn, torch.nn.functional as F

from registry import classes, cross_entropy, images, register, token_loss

VOCABULARY, HIDDEN, LAYERS, LENGTH = 500, 64, 2, 16
BERT = dict(vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128,
    max_position_embeddings=64)
token_ids = lambda: [("ids", torch.randint(5, VOCABULARY, (2, LENGTH)))]


def padding_mask():
    m = torch.ones(2, LENGTH, dtype=torch.int64)
    m[1, 11:] = 0
    return m


token_ids_and_mask = lambda: [("ids", torch.randint(5, VOCABULARY, (2, LENGTH))), ("mask", padding_mask())]
token_labels = lambda: [("y", torch.randint(0, VOCABULARY, (2, LENGTH)))]


def next_token_loss(o, y):
    return F.cross_entropy(o[:, :-1].reshape(-1, o.shape[-1]), y[:, 1:].reshape(-1))


class Call(nn.Module):
    def __init__(self, net, call):
        super().__init__()
        self.net = net
        self.call = call

    def forward(self, *x):
        return self.call(self.net, *x)


def transformer(name, config, model, call, inputs, labels, loss, group="hf", experts=None, **options):
    """One of transformers.MODEL, configured by transformers.CONFIG(**options)."""

    def make(attention=None):
        import transformers

        c = getattr(transformers, config)(**options)
        if experts:
            c._experts_implementation = experts
        if attention:
            c._attn_implementation = attention
        return Call(getattr(transformers, model)(c), call)

    register(name, make, inputs, labels, loss, group)


from_ids = lambda m, i: m(input_ids=i, use_cache=False).logits
from_ids_and_mask = lambda m, i, a: m(input_ids=i, attention_mask=a).logits
NO_DROPOUT = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
transformer("bert", "BertConfig", "BertForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss, **BERT, **NO_DROPOUT)
transformer("distilbert", "DistilBertConfig", "DistilBertForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss,
    vocab_size=VOCABULARY, dim=HIDDEN, n_layers=LAYERS, n_heads=4, hidden_dim=128, max_position_embeddings=64, dropout=0.0,
    attention_dropout=0.0)
transformer("roberta", "RobertaConfig", "RobertaForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss, **BERT,
    **NO_DROPOUT)
transformer("albert", "AlbertConfig", "AlbertForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss, **BERT,
    embedding_size=32, **NO_DROPOUT)
transformer("electra", "ElectraConfig", "ElectraForPreTraining", from_ids_and_mask, token_ids_and_mask, lambda: [("y", torch.randint(0, 2,
    (2, LENGTH)).float())], lambda o, y: F.binary_cross_entropy_with_logits(o, y), **BERT, embedding_size=32, **NO_DROPOUT)
transformer("deberta_v2", "DebertaV2Config", "DebertaV2ForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss,
    **BERT, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True,
    **NO_DROPOUT)
transformer("mpnet", "MPNetConfig", "MPNetForMaskedLM", from_ids_and_mask, token_ids_and_mask, token_labels, token_loss, **BERT,
    **NO_DROPOUT)
transformer("gpt2", "GPT2Config", "GPT2LMHeadModel", from_ids, token_ids, token_labels, next_token_loss, vocab_size=VOCABULARY,
    n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
transformer("gpt_neo", "GPTNeoConfig", "GPTNeoForCausalLM", from_ids, token_ids, token_labels, next_token_loss, vocab_size=VOCABULARY,
    hidden_size=HIDDEN, num_layers=LAYERS, num_heads=4, attention_types=[[["global", "local"], 1]], max_position_embeddings=64,
    window_size=4, resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0)
transformer("opt", "OPTConfig", "OPTForCausalLM", from_ids, token_ids, token_labels, next_token_loss, vocab_size=VOCABULARY,
    hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, ffn_dim=128, max_position_embeddings=64,
    word_embed_proj_dim=HIDDEN, dropout=0.0, attention_dropout=0.0)
LLAMA = dict(**BERT, num_key_value_heads=4)
transformer("llama", "LlamaConfig", "LlamaForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA)
transformer("mistral", "MistralConfig", "MistralForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA, sliding_window=8)
transformer("qwen2", "Qwen2Config", "Qwen2ForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA)
transformer("qwen3", "Qwen3Config", "Qwen3ForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA, head_dim=16)
transformer("gemma", "GemmaConfig", "GemmaForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA, head_dim=16)
transformer("gemma2", "Gemma2Config", "Gemma2ForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA, head_dim=16,
    sliding_window=8)
transformer("phi", "PhiConfig", "PhiForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **BERT, resid_pdrop=0.0,
    embd_pdrop=0.0)
transformer("gpt_neox", "GPTNeoXConfig", "GPTNeoXForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **BERT)
transformer("bloom", "BloomConfig", "BloomForCausalLM", from_ids, token_ids, token_labels, next_token_loss, vocab_size=VOCABULARY,
    hidden_size=HIDDEN, n_layer=LAYERS, n_head=4, hidden_dropout=0.0, attention_dropout=0.0)
transformer("mixtral", "MixtralConfig", "MixtralForCausalLM", from_ids, token_ids, token_labels, next_token_loss, **LLAMA,
    num_local_experts=4, num_experts_per_tok=2, sliding_window=None)
encoder_and_decoder_ids = lambda: [("ids", torch.randint(5, VOCABULARY, (2, LENGTH))), ("dec", torch.randint(5, VOCABULARY, (2, 12)))]
decoder_labels = lambda: [("y", torch.randint(0, VOCABULARY, (2, 12)))]
from_decoder = lambda m, i, d: m(input_ids=i, decoder_input_ids=d, use_cache=False).logits
transformer("t5", "T5Config", "T5ForConditionalGeneration", from_decoder, encoder_and_decoder_ids, decoder_labels, token_loss,
    vocab_size=VOCABULARY, d_model=HIDDEN, d_kv=16, d_ff=128, num_layers=LAYERS, num_decoder_layers=LAYERS, num_heads=4, dropout_rate=0.0,
    relative_attention_num_buckets=8)
transformer("bart", "BartConfig", "BartForConditionalGeneration", from_decoder, encoder_and_decoder_ids, decoder_labels, token_loss,
    vocab_size=VOCABULARY, d_model=HIDDEN, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, max_position_embeddings=64, dropout=0.0, attention_dropout=0.0,
    activation_dropout=0.0)
transformer("whisper", "WhisperConfig", "WhisperForConditionalGeneration", lambda m, x, d: m(input_features=x, decoder_input_ids=d,
    use_cache=False).logits, lambda: [("x", torch.randn(2, 20, 64)), ("dec", torch.randint(5, VOCABULARY, (2, 12)))], decoder_labels,
    token_loss, vocab_size=VOCABULARY, num_mel_bins=20, d_model=HIDDEN, encoder_layers=LAYERS, decoder_layers=LAYERS,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, max_source_positions=32,
    max_target_positions=32, dropout=0.0, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
AUDIO = dict(hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128, vocab_size=32, conv_dim=(32, 32,
    32), conv_stride=(5, 2, 2), conv_kernel=(10, 3, 3), num_feat_extract_layers=3, num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4, hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0,
    final_dropout=0.0, layerdrop=0.0, apply_spec_augment=False, mask_time_prob=0.0)
waveforms = lambda: [("x", torch.randn(2, 800))]


def frame_loss(o, y):
    return F.cross_entropy(o.transpose(1, 2), y)


from_inputs = lambda m, x: m(x).logits
transformer("wav2vec2", "Wav2Vec2Config", "Wav2Vec2ForCTC", from_inputs, waveforms, lambda: [("y", torch.randint(0, 32, (2, 39)))],
    frame_loss, "audio", **AUDIO)
transformer("hubert", "HubertConfig", "HubertForCTC", from_inputs, waveforms, lambda: [("y", torch.randint(0, 32, (2, 39)))], frame_loss,
    "audio", **AUDIO)
transformer("hf_vit", "ViTConfig", "ViTForImageClassification", from_inputs, images(2, 32), classes(), cross_entropy, hidden_size=HIDDEN,
    num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8, num_labels=10, **NO_DROPOUT)


def clip_loss(o, y):
    return (F.cross_entropy(o, y) + F.cross_entropy(o.t(), y)) / 2


transformer("clip", "CLIPConfig", "CLIPModel", lambda m, i, x: m(input_ids=i, pixel_values=x).logits_per_image, lambda: [("ids",
    torch.randint(5, VOCABULARY - 5, (2, LENGTH))), ("x", torch.randn(2, 3, 32, 32))], lambda: [("y", torch.arange(2))], clip_loss,
    text_config=dict(**BERT), vision_config=dict(hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=128,
    image_size=32, patch_size=8), projection_dim=32)
transformer("sam", "SamConfig", "SamModel", lambda m, x, p: m(pixel_values=x, input_points=p, multimask_output=False).pred_masks, lambda:
    [("x", torch.randn(1, 3, 64, 64)), ("p", torch.rand(1, 1, 2, 2) * 64)], lambda: [("y", torch.rand(1, 1, 1, 16, 16))], lambda o, y:
    F.binary_cross_entropy_with_logits(o, y), vision_config=dict(hidden_size=32, num_pos_feats=8, output_channels=16, num_hidden_layers=2,
    num_attention_heads=4, image_size=64, patch_size=16, window_size=2, global_attn_indexes=[1], mlp_dim=64),
    prompt_encoder_config=dict(hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4),
    mask_decoder_config=dict(hidden_size=16, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=16))
transformer("mamba", "MambaConfig", "MambaForCausalLM", from_ids, token_ids, token_labels,
    next_token_loss, vocab_size=VOCABULARY, hidden_size=32, state_size=8, num_hidden_layers=LAYERS, time_step_rank=4)
transformer("rwkv", "RwkvConfig", "RwkvForCausalLM", from_ids, token_ids, token_labels,
    next_token_loss, vocab_size=VOCABULARY, hidden_size=HIDDEN, attention_hidden_size=HIDDEN, num_hidden_layers=LAYERS,
    intermediate_size=128, context_length=64)
from_ids_and_mask_no_cache = lambda m, i, a: m(input_ids=i, attention_mask=a, use_cache=False).logits
transformer("gpt2_mask", "GPT2Config", "GPT2LMHeadModel", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, vocab_size=VOCABULARY, n_embd=HIDDEN, n_layer=LAYERS, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0,
    attn_pdrop=0.0)
transformer("gpt_neo_mask", "GPTNeoConfig", "GPTNeoForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, vocab_size=VOCABULARY, hidden_size=HIDDEN, num_layers=LAYERS, num_heads=4, attention_types=[[["global", "local"], 1]],
    max_position_embeddings=64, window_size=4, resid_dropout=0.0, embed_dropout=0.0, attention_dropout=0.0)
transformer("llama_mask", "LlamaConfig", "LlamaForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA)
transformer("mistral_mask", "MistralConfig", "MistralForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA, sliding_window=8)
transformer("qwen2_mask", "Qwen2Config", "Qwen2ForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA)
transformer("qwen3_mask", "Qwen3Config", "Qwen3ForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA, head_dim=16)
transformer("gemma_mask", "GemmaConfig", "GemmaForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA, head_dim=16)
transformer("gemma2_mask", "Gemma2Config", "Gemma2ForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **LLAMA, head_dim=16, sliding_window=8)
transformer("phi_mask", "PhiConfig", "PhiForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels, next_token_loss,
    **BERT, resid_pdrop=0.0, embd_pdrop=0.0)
transformer("gpt_neox_mask", "GPTNeoXConfig", "GPTNeoXForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, **BERT)
transformer("mixtral_batched", "MixtralConfig", "MixtralForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, experts="batched_mm", **LLAMA, num_experts_per_tok=2, num_local_experts=4, sliding_window=None)
transformer("mixtral_eager", "MixtralConfig", "MixtralForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, experts="eager", **LLAMA, num_experts_per_tok=2, num_local_experts=4, sliding_window=None)
transformer("qwen3moe_batched", "Qwen3MoeConfig", "Qwen3MoeForCausalLM", from_ids_and_mask_no_cache, token_ids_and_mask, token_labels,
    next_token_loss, experts="batched_mm", **LLAMA, num_experts_per_tok=2, num_experts=4, moe_intermediate_size=64, head_dim=16)
