"""What can be asked of a model: each public function here is a method of `ancestral.Model`."""
