"""What a model is, without torch: traits, names, weights, folders and their cost.

config            the traits of a decoder
rope              its rotary frequencies
cost, presets     what it costs in closed form; shapes to train from nothing
names             published weight names and ours, and every tensor's shape
strict_json, tensor_file      bounded JSON and safetensors from strangers
fields, hf_rope, hf_families   a config.json field by field, family by family
hf_config         config.json, read strictly, and written for three families
quantised         compressed-tensors, both ways
gguf_blocks      the blocks of GGUF tensors as weight records
encoder_config, relative      the traits of encoders and encoder-decoders; T5's distances
hf_common, hf_encoder, hf_towers      their config.json
encoder_names, encoder_folder      their weights, every tensor accounted for
sentence, pixels  how a folder wants its texts embedded, and its images read
weights, folder   every tensor accounted for; Hugging Face folders read and written

Invariant: a folder opens only if each of its tensors is one that its config calls for, of the
right shape and whole; no code from a folder is run and no file outside of it is opened.
Elsewhere: arithmetic on weights (kernels), torch modules (networks), tokenizers (tokenizer).
"""
