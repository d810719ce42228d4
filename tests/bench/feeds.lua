-- wrk: a random feed with every request, as the load tester asks for them.
request = function()
    return wrk.format("GET", "/v1/feeds/" .. math.random(1, 1000))
end
