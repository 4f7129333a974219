"""Fine-tune a pretrained model, measure it at home and under shift, explain it, and check the explanation."""
