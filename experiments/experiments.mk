# The experiments. Included by the Makefile.

.PHONY: proof proof-broken orphans interventions drill-matrix example-fire findings
proof: ## proves that each fault shows, each fix holds, each non-fix fails; RUNS=20: 20 times; ONLY=NAME: one scenario
	$(call prepare,build run test,build)
	@exec experiments/proof $(if $(RUNS),--runs $(RUNS)) $(if $(ONLY),--only $(ONLY))

proof-broken: ## breaks the scenarios on purpose: the proof must fail each time; ONLY=NAME
	$(call prepare,build run test,build)
	@exec experiments/proof --break $(if $(ONLY),--only $(ONLY))

orphans: ## shows what PostgreSQL continues to do for a service that has died; ONLY=WORD: the cases with this word
	$(call prepare,build run test,build)
	@$(if $(ONLY),ONLY="$(ONLY)") experiments/orphans

interventions: ## measures what each single change does to the buggy service; about 35 minutes; ONLY=ROW
	$(call prepare,build run test,build)
	@$(if $(ONLY),ONLY="$(ONLY)") experiments/interventions

drill-matrix: ## finds out what each change does to each drill; some hours; ONLY=DRILL or DRILL/CHANGE
	$(call prepare,build run test,build)
	@$(if $(ONLY),ONLY="$(ONLY)") experiments/drill-matrix

example-fire: ## runs the fire of the example postmortem, from release to repair; 100 s
	$(call prepare,build run test,build)
	@exec experiments/example-fire

findings: ## copies the experiments' results from build/ into docs/findings.json and the documents
	@experiments/write_findings
