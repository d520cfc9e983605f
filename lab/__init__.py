"""kemi-lab: how long Kamailio's routing takes in each of its languages, measured so that it can be believed."""
