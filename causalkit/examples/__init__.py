"""Real pipelines to record and to learn on, and the recordings of them.

==========================================================  ===================  =================
question                                                    name                 module
==========================================================  ===================  =================
Where is a recording of a real workflow?                    `load_recording`     `recordings`
Where is one of releases whose changes are known?           `load_release`       `recordings`
Where is one of real ensembles and their judge?             `load_digits_panel`  `recordings`
Which releases does another seed make?                      `draw_releases`      `releases`
Which ensembles are these, and who takes part?              `DigitsPanel`        `digits_panel`
Which models have a known answer?                           `reference_cases`    `cases`
Does one of them come out as it must?                       `check_case`         `cases`
Which workflow is regression-tested?                        `answer`             `answer`
Which service can be asked everything, with its truth?      `runs`, `graph`      `shop`
==========================================================  ===================  =================

`search_qa` answers questions from the documentation of installed packages, `lessons` writes lessons from it, `router`
chooses between the two and is sometimes wrong, `record` turns the knobs at random and records all of it.
`record_releases` records `releases` of it, made of `release_steps`. `digits_panel` reads handwritten digits by vote,
`record_digits` records it.
"""
