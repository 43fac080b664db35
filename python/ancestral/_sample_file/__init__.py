"""Files of samples, behind `sample_to`: their formats, and a file in the making."""
