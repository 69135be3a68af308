"""What a model is, without torch: traits, names, weights, folders and their cost.

config            the traits of a decoder
rope              its rotary frequencies
cost, presets     what it costs in closed form; shapes to train from nothing
names, parts      published weight names and ours, every tensor's shape; one made of the other
strict_json, tensor_file      bounded JSON and safetensors from strangers
fields, hf_rope, hf_traits, hf_families    a config.json field by field, family by family
hf_config         config.json, read strictly, and written for three families
encoder_config, relative      the traits of encoders and encoder-decoders; T5's distances
hf_common, hf_encoder, hf_towers      their config.json
scheme, streams, quantised, gptq     quantised maps: compressed-tensors both ways, GPTQ, AWQ
gguf_blocks, gguf_tensors     the tensors of a GGUF file as weight records
gguf_config, gguf_rope        and its pairs as traits
gguf_encode, gguf_export      a model as a GGUF file
encoder_names, encoder_folder      the weights of encoders, every tensor accounted for
sentence, pixels  how a folder wants its texts embedded, and its images read
stored_maps, weights     every tensor of a decoder accounted for
folder            Hugging Face folders read and written, GGUF files read
packed_file       matrices in the order of one instruction set, kept in a file and mapped

Invariant: a folder opens only if each of its tensors is one that its config calls for, of the
right shape and whole; no code from a folder is run and no file outside of it is opened.
Elsewhere: arithmetic on weights (kernels), torch modules (networks), tokenizers (tokenizer).
"""
