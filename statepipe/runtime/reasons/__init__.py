"""
Why an instance is where it is, worked out from stored facts alone; in sentences, with the facts.

    standing    reasons      why it ran, waits, retries, failed, was taken over, rests
    states      of_state     the same of one state: why it was entered, left, skipped
    trying      not_again    why an error was not tried again, by the policy of that attempt
                pause        why a pause is as long as it is
    waiting     waits        what it waits for: a slot, a permit, room
    turns       key, queue   why it is not its turn
    parts       at_work      what it waits for while others do part of its work
    drivers     nobody       why nobody drives it
    story       told         one journal row as a sentence
    health      health       one word for how a machine is doing
    reason      Reason       one sentence, and what it is made of
"""
