"""How the services get what they give out: Nova its servers, from the lab's hosts; Cinder its volumes, from files."""
