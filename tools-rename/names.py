"""Old and new names of settings, by table."""
TRAIN={'rate':'learning_rate','rows':'batch_size','time':'sequence_length','batch_tokens':'tokens_per_batch','accumulate':'gradient_accumulation','clip':'max_grad_norm','recompute':'gradient_checkpointing','warmup':'warmup_ratio','decay':'decay_ratio','floor':'min_lr_ratio','average':'weight_averaging','evaluations':'eval_count','evaluation_tokens':'eval_tokens'}
START={'lora':'lora_rank','alpha':'lora_alpha','targets':'lora_targets','blocks':'trainable_blocks','thaw':'gradual_unfreezing','vectors':'word_vectors'}
PRIOR={'counts':'enabled','orders':'order','parts':'folds_used'}
TF={'width':'hidden_size','head_width':'head_dim','feed_forward':'ffn_size','context':'context_length','window':'sliding_window','rotary_base':'rope_theta','rotary_scaling':'rope_scaling','epsilon':'norm_eps','score_scale':'attention_scale','tied':'tie_embeddings','shared':'share_embeddings','scaled':'scale_embeddings','scaled_output':'scale_logits','spread':'init_std','zero_outputs':'zero_init_residual','final_bias':'lm_head_bias'}
MASKED={'output_layer':'lm_head_transform'}
RNN={'embedding':'embedding_size','hidden':'hidden_size','tied':'tie_embeddings'}
VAE={'latent':'latent_size','embedding':'embedding_size','width':'hidden_size','context':'context_length','tied':'tie_embeddings','free_each':'free_bits_per_dim','rise':'annealing_ratio','aggressive':'aggressive_ratio','ahead':'encoder_steps'}
GAN={'embedding':'embedding_size','width':'hidden_size','context':'context_length','tied':'tie_embeddings','critic_embedding':'critic_embedding_size','critic_width':'critic_hidden_size','views':'critic_heads','sharpness':'inverse_temperature','likelihood':'mle_ratio','critic_alone':'critic_pretrain_ratio','adversarial_rate':'adversarial_learning_rate','critic_rate':'critic_learning_rate'}
SAMPLING={'gap':'gap_tokens','depth':'max_depth','diversity':'diversity_penalty','length_form':'length_penalty_form'}
MODEL={**TF,**MASKED,**RNN,**VAE,**GAN}
