"""``streamgage lint``: what a template would do to the data, told before it is deployed."""
