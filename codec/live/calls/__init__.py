"""Calls between two sides: packets to sound and back, who is at the other end, encryption, sound devices."""
