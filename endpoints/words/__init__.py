"""What get_sim, get_tags, get_qa, get_aprox, get_conf and basic_quiz_model share.

Not an endpoint: the server looks for endpoints in the files beside this folder only.
"""
