"""Parts of fine-tuning; the loop is `heads.finetuning.loop`."""
