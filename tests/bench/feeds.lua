-- wrk: requests a random feed each time, as the load tester does.
request = function()
    return wrk.format("GET", "/v1/feeds/" .. math.random(1, 1000))
end
